package main

import (
	"errors"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/function"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/invoke"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/quotas"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/trigger"
)

// Errors, which the library has a type for by status; only 404 means to Terraform that a thing is gone.
func (r *run) refusals() {
	create := func(step string, change func(*function.CreateOpts)) {
		r.step(step, func() (interface{}, error) {
			wish := r.inline()
			wish.Name = r.Name + "-bad"
			change(&wish)
			return function.Create(r.fgs, wish)
		})
	}
	create("bad_memory", func(wish *function.CreateOpts) { wish.MemorySize = 100 })
	create("bad_runtime", func(wish *function.CreateOpts) { wish.Runtime = "Cobol1.0" })
	create("bad_variables", func(wish *function.CreateOpts) { wish.UserData = "[1]" })
	create("bad_vpc", func(wish *function.CreateOpts) {
		wish.FuncVpc = &function.FuncVpc{VpcID: "vpc-1", SubnetID: "subnet-1"}
	})
	create("exists", func(wish *function.CreateOpts) { wish.Name = r.Name })
	create("image", func(wish *function.CreateOpts) { wish.CustomImage = &function.CustomImage{Image: "swr/one:1"} })
	create("gpu", func(wish *function.CreateOpts) { wish.GpuMemory = number(1024) })
	create("code_in_store", func(wish *function.CreateOpts) {
		wish.CodeType, wish.CodeURL, wish.FuncCode = "obs", "https://bucket.obs.example.com/code.zip", nil
	})
	r.step("missing", func() (interface{}, error) { return function.GetMetadata(r.fgs, r.urn("-none")) })
	r.act("missing_delete", func() error { return function.Delete(r.fgs, r.urn("-none")) })
	r.step("missing_invoke", func() (interface{}, error) { return invoke.LaunchSync(r.fgs, r.urn("-none")) })
	r.step("missing_trigger", func() (interface{}, error) { return trigger.Get(r.fgs, r.urn(""), "TIMER", "none") })
	r.act("delete_latest", func() error { return function.Delete(r.fgs, r.urn("")+":latest") })
	r.step("bad_token", func() (interface{}, error) {
		return function.GetMetadata(r.client(&golangsdk.ProviderClient{TokenID: "wrong"}), r.urn(""))
	})
	r.step("other_project", func() (interface{}, error) {
		return function.GetMetadata(r.fgs, "urn:fss:local:0123456789abcdef0123456789abcdef:function:default:x")
	})
}

// The library gets a token for an access key, which it sends as a user's name and password.
func (r *run) login() {
	var provider *golangsdk.ProviderClient
	r.step("login", func() (interface{}, error) {
		found, err := openstack.AuthenticatedClient(golangsdk.AuthOptions{
			IdentityEndpoint: r.Endpoint + "/v3/", Username: r.AccessKey, Password: r.SecretKey, DomainID: r.Project,
			TenantID: r.Project,
		})
		if err != nil {
			return nil, err
		}
		provider = found
		return map[string]interface{}{
			"project": found.ProjectID, "domain": found.DomainID, "user": found.UserID, "token": found.TokenID != "",
		}, nil
	})
	r.step("login_used", func() (interface{}, error) {
		if provider == nil {
			return nil, errors.New("there is no token")
		}
		return quotas.ListQuotas(r.client(provider))
	})
}

// One round without a token: the library signs each request.
func (r *run) signatures() {
	urn := r.urn("-signed")
	r.step("signed_create", func() (interface{}, error) {
		wish := r.inline()
		wish.Name = r.Name + "-signed"
		return function.Create(r.signed, wish)
	})
	r.step("signed_list", func() (interface{}, error) {
		return function.List(r.signed, function.ListOpts{PackageName: "default", Marker: "0"})
	})
	r.step("signed_invoke", func() (interface{}, error) { return invoke.LaunchSync(r.signed, urn) })
	r.act("signed_delete", func() error { return function.Delete(r.signed, urn) })
	r.step("signed_wrong", func() (interface{}, error) {
		return function.GetMetadata(r.client(&golangsdk.ProviderClient{AKSKAuthOptions: golangsdk.AKSKAuthOptions{
			AccessKey: r.AccessKey, SecretKey: "wrong", ProjectId: r.Project,
		}}), r.urn(""))
	})
}

// The function with the package stays for the caller, who looks at what its asynchronous invocation came to.
func (r *run) deletions() {
	for name, suffix := range map[string]string{"delete": "", "delete_imported": "-again"} {
		of := r.urn(suffix)
		r.act(name, func() error { return function.Delete(r.fgs, of) })
		r.step(name+"_gone", func() (interface{}, error) { return function.GetMetadata(r.fgs, of) })
		r.act(name+"_twice", func() error { return function.Delete(r.fgs, of) })
	}
}
