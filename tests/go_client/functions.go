package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"io"

	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/function"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/invoke"
)

// The library reads the answer of a synchronous invocation as four texts and does not ask for version v1 of it, where
// `status` would be a number: so the function gives these four itself. It cannot send an event either.
const source = `
import json
STARTED = []

def start(context):
    STARTED.append(True)

def beat():
    return True

def handler(event, context):
    seen = {"event": event, "plain": context.getUserData("plain"), "secret": context.getUserData("secret"),
            "memory": context.getMemorySize(), "started": bool(STARTED), "word": "WORD"}
    print("got", json.dumps(event, sort_keys=True))
    return {"request_id": context.getRequestID(), "result": json.dumps(seen), "log": "", "status": "200"}
`

func encoded(word string) string {
	return base64.StdEncoding.EncodeToString(bytes.ReplaceAll([]byte(source), []byte("WORD"), []byte(word)))
}

func zipped(word string) (string, error) {
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	file, err := archive.Create("app.py")
	if err == nil {
		_, err = file.Write(bytes.ReplaceAll([]byte(source), []byte("WORD"), []byte(word)))
	}
	if err == nil {
		err = archive.Close()
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes()), err
}

// The files of a package as the library gives it.
func unzipped(file string) (map[string]string, error) {
	packed, err := base64.StdEncoding.DecodeString(file)
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, entry := range archive.File {
		reader, err := entry.Open()
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		found[entry.Name] = string(text)
	}
	return found, nil
}

func (r *run) functions() {
	main, packed := r.urn(""), r.urn("-zip")
	r.step("create_inline", func() (interface{}, error) {
		return function.Create(r.fgs, r.inline())
	})
	r.step("create_zip", func() (interface{}, error) {
		code, err := zipped("first")
		if err != nil {
			return nil, err
		}
		return function.Create(r.fgs, function.CreateOpts{
			Name: r.Name + "-zip", Package: "default", Runtime: r.Runtime, Timeout: 30, Handler: "app.handler",
			MemorySize: 256, CodeType: "zip", CodeFilename: "app.zip", FuncCode: &function.FuncCode{File: code},
			UserData: `{"plain": "p"}`, EncryptedUserData: `{"secret": "s"}`, Description: "packed", Type: "v2",
			InitHandler: "app.start", InitTimeout: number(5), EnableDynamicMemory: flagged(true),
			LogConfig: &function.FuncLogConfig{GroupID: r.LogGroup, StreamID: r.LogStream},
		})
	})
	r.step("get", func() (interface{}, error) { return function.GetMetadata(r.fgs, main) })
	r.step("get_zip", func() (interface{}, error) { return function.GetMetadata(r.fgs, packed) })
	r.step("get_code", func() (interface{}, error) { return r.code(main) })
	r.step("get_code_zip", func() (interface{}, error) { return r.code(packed) })
	// The library sends max_items; the API's reference has maxitems, so its page has no size.
	r.step("list", func() (interface{}, error) { return function.List(r.fgs, function.ListOpts{PackageName: "default"}) })
	r.step("list_end", func() (interface{}, error) { return function.List(r.fgs, function.ListOpts{Marker: "100000"}) })
	r.step("list_other_package", func() (interface{}, error) {
		return function.List(r.fgs, function.ListOpts{PackageName: "nowhere"})
	})
	r.step("invoke", func() (interface{}, error) { return invoke.LaunchSync(r.fgs, main) })

	r.step("update_code", func() (interface{}, error) {
		return function.UpdateFuncCode(r.fgs, function.UpdateFuncCodeOpts{
			FuncUrn: main, CodeType: "inline", FuncCode: &function.FuncCode{File: encoded("second")},
		})
	})
	r.step("get_code_updated", func() (interface{}, error) { return r.code(main) })
	r.metadata(main)
	r.step("invoke_updated", func() (interface{}, error) { return invoke.LaunchSync(r.fgs, main) })
	r.step("invoke_async", func() (interface{}, error) {
		return invoke.LaunchAsync(r.fgs, packed, map[string]string{"k": "v"})
	})

	r.step("max_instances", func() (interface{}, error) {
		return function.UpdateMaxInstances(r.fgs, function.UpdateFuncInstancesOpts{FuncUrn: main, MaxInstanceNum: 7})
	})
	// The library leaves out a 0, so it cannot switch a function off.
	r.step("max_instances_none", func() (interface{}, error) {
		return function.UpdateMaxInstances(r.fgs, function.UpdateFuncInstancesOpts{FuncUrn: main, MaxInstanceNum: -1})
	})
	r.act("pin", func() error { return function.UpdateStatus(r.fgs, main, "true") })
	r.act("unpin", func() error { return function.UpdateStatus(r.fgs, main, "false") })
}

func (r *run) inline() function.CreateOpts {
	return function.CreateOpts{
		Name: r.Name, Package: "default", Runtime: r.Runtime, Timeout: 10, Handler: "index.handler", MemorySize: 128,
		CodeType: "inline", FuncCode: &function.FuncCode{File: encoded("first")},
	}
}

// What is not sent here, as the library could not read it back: it takes `pre_stop_timeout` for a text, and it is
// a number; `custom_image.enabled` it calls `bool`. A VPC needs a
// network of the node's settings; that it is asked for is seen in the errors.
func (r *run) metadata(urn string) {
	r.step("update", func() (interface{}, error) {
		return function.UpdateFuncMetadata(r.fgs, function.UpdateFuncMetadataOpts{
			FuncUrn: urn, Name: r.Name, Runtime: r.Runtime, Timeout: 20, Handler: "index.handler", MemorySize: 512,
			UserData: `{"plain": "open"}`, EncryptedUserData: `{"secret": "hidden"}`, Description: "changed",
			Xrole: r.Agency, AppXrole: r.Agency, ExtendConfig: `{"kept": true}`,
			StrategyConfig: &function.StrategyConfig{Concurrency: 9, ConcurrentNum: 2},
			InitHandler:    "index.start", InitTimeout: number(7), EphemeralStorage: number(512),
			LogConfig:           &function.FuncLogConfig{GroupID: r.LogGroup, StreamID: r.LogStream},
			NetworkController:   &function.NetworkControlConfig{DisablePublicNetwork: flagged(true)},
			EnableDynamicMemory: flagged(true), HeartbeatHandler: "index.beat", FuncVpc: &function.FuncVpc{},
			MountConfig: &function.MountConfig{
				MountUser: function.MountUser{UserID: "5000", UserGroupID: "5001"},
				FuncMounts: []function.FuncMount{
					{MountType: "tmpfs", MountResource: "16", LocalMountPath: "/mnt/scratch"},
				},
			},
		})
	})
	r.step("get_updated", func() (interface{}, error) { return function.GetMetadata(r.fgs, urn) })
	// As Terraform does when a block is taken out of its file: what has no value is not sent, so it stays.
	r.step("update_little", func() (interface{}, error) {
		return function.UpdateFuncMetadata(r.fgs, function.UpdateFuncMetadataOpts{
			FuncUrn: urn, Name: r.Name, Runtime: r.Runtime, Timeout: 21, Handler: "index.handler", MemorySize: 256,
			NetworkController: &function.NetworkControlConfig{DisablePublicNetwork: flagged(false)},
		})
	})
	r.step("get_little", func() (interface{}, error) { return function.GetMetadata(r.fgs, urn) })
}

func (r *run) code(urn string) (interface{}, error) {
	code, err := function.GetCode(r.fgs, urn)
	if err != nil {
		return nil, err
	}
	files, err := unzipped(code.FuncCode.File)
	code.FuncCode.File = ""
	return map[string]interface{}{"code": code, "files": files}, err
}
