// Speaks to a running fgd with the library on which a Terraform provider of FunctionGraph is built, through the
// library's own typed structs, and prints what the library made of each answer: one JSON line per step,
// {"step": name, "ok": no error, "seen": what was read, or the error}. What is right is for the reader to say:
// tests/e2e/test_go_client.py. A step that fails does not stop those after it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack"
)

// What the caller made for this run; names of functions begin with Name.
type settings struct {
	Endpoint, Project, Token                 string
	AccessKey, SecretKey                     string
	Name, Runtime, Agency                    string
	LogGroup, LogStream, SourceStream, Topic string
}

type run struct {
	settings
	// With the token, and with nothing but a signature.
	fgs, signed *golangsdk.ServiceClient
	out         *json.Encoder
}

type record struct {
	Step string      `json:"step"`
	Ok   bool        `json:"ok"`
	Seen interface{} `json:"seen"`
}

// The library's error as a type, with the status and the body that it carries.
type failure struct {
	Type   string          `json:"type"`
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
	Text   string          `json:"text"`
}

func main() {
	var r run
	for name, place := range map[string]*string{
		"endpoint": &r.Endpoint, "project": &r.Project, "name": &r.Name, "runtime": &r.Runtime, "agency": &r.Agency,
		"log-group": &r.LogGroup, "log-stream": &r.LogStream, "source-stream": &r.SourceStream, "topic": &r.Topic,
	} {
		flag.StringVar(place, name, "", "")
	}
	flag.Parse()
	// By environment, for other users of a machine can read the words of a command.
	r.Token, r.AccessKey, r.SecretKey = os.Getenv("FGD_TOKEN"), os.Getenv("FGD_ACCESS_KEY"), os.Getenv("FGD_SECRET_KEY")
	r.out = json.NewEncoder(os.Stdout)
	r.fgs = r.client(&golangsdk.ProviderClient{TokenID: r.Token})
	r.signed = r.client(&golangsdk.ProviderClient{AKSKAuthOptions: golangsdk.AKSKAuthOptions{
		AccessKey: r.AccessKey, SecretKey: r.SecretKey, ProjectId: r.Project,
	}})

	r.functions()
	r.versions()
	r.triggers()
	r.others()
	r.refusals()
	r.login()
	r.signatures()
	r.deletions()
}

// The library finds the service by an entry "volumev2" of the identity service's catalog in which it replaces a word;
// fgd's catalog is empty, so the address is given here.
func (r *run) client(provider *golangsdk.ProviderClient) *golangsdk.ServiceClient {
	provider.ProjectID = r.Project
	provider.EndpointLocator = func(golangsdk.EndpointOpts) (string, error) {
		return fmt.Sprintf("%s/v2/%s/", r.Endpoint, r.Project), nil
	}
	client, err := openstack.NewFuncGraph(provider, golangsdk.EndpointOpts{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return client
}

func (r *run) step(name string, do func() (interface{}, error)) {
	seen, err := do()
	if err != nil {
		seen = described(err)
	}
	if err := r.out.Encode(record{Step: name, Ok: err == nil, Seen: seen}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// For the operations that give an error or nothing.
func (r *run) act(name string, do func() error) {
	r.step(name, func() (interface{}, error) { return nil, do() })
}

// A function's URN without the version, as Terraform cuts it.
func (r *run) urn(suffix string) string {
	return strings.Join([]string{"urn:fss:local", r.Project, "function:default", r.Name + suffix}, ":")
}

func described(err error) failure {
	found := failure{Type: fmt.Sprintf("%T", err), Text: err.Error()}
	var answer golangsdk.ErrUnexpectedResponseCode
	switch typed := err.(type) {
	case golangsdk.ErrDefault400:
		answer = typed.ErrUnexpectedResponseCode
	case golangsdk.ErrDefault401:
		answer = typed.ErrUnexpectedResponseCode
	case golangsdk.ErrDefault403:
		answer = typed.ErrUnexpectedResponseCode
	case golangsdk.ErrDefault404:
		answer = typed.ErrUnexpectedResponseCode
	case golangsdk.ErrDefault409:
		answer = typed.ErrUnexpectedResponseCode
	case golangsdk.ErrUnexpectedResponseCode: // 501 has no type of its own
		answer = typed
	}
	found.Status = answer.Actual
	if json.Valid(answer.Body) {
		found.Body = answer.Body
	}
	return found
}

func number(value int) *int    { return &value }
func flagged(value bool) *bool { return &value }
