package main

import (
	"encoding/base64"
	"io"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	common "github.com/opentelekomcloud/gophertelekomcloud/openstack/common/tags"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/function"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/quotas"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/tags"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/util"
)

// Tags, quotas, logs, templates, statistics, export and import.
func (r *run) others() {
	urn := r.urn("")
	two := []common.ResourceTag{{Key: "team", Value: "shop"}, {Key: "stage", Value: "test"}}
	r.act("tags_create", func() error {
		// Terraform tags the URN with `latest` and takes tags away from the one without.
		return tags.CreateResourceTag(r.fgs, tags.TagsActionOpts{Id: urn + ":latest", Action: "create", Tags: two})
	})
	r.step("tags", func() (interface{}, error) { return tags.GetResourceTags(r.fgs, urn) })
	r.act("tags_delete", func() error {
		return tags.DeleteResourceTag(r.fgs, tags.TagsActionOpts{Id: urn, Action: "delete", Tags: two[:1]})
	})
	r.step("tags_left", func() (interface{}, error) { return tags.GetResourceTags(r.fgs, urn) })

	r.step("quotas", func() (interface{}, error) { return quotas.ListQuotas(r.fgs) })
	r.act("lts_enable", func() error { return util.EnableFuncLts(r.fgs) })
	r.step("lts", func() (interface{}, error) { return util.GetFuncLts(r.fgs, urn+":latest") })
	r.step("template", func() (interface{}, error) { return util.GetFuncTemplate(r.fgs, "none") })
	r.step("statistics", func() (interface{}, error) {
		return util.ListStats(r.fgs, util.ListStatsOpts{Filter: "monitor_data", Period: "60"})
	})
	r.step("statistics_of", func() (interface{}, error) { return util.ListStatsPeriod(r.fgs, urn, "60") })

	var exported string
	r.act("export", func() error {
		return function.Export(r.fgs, urn, function.ExportOpts{Config: "true", Code: "true"})
	})
	// The library drops what it exported, so that is read by its client.
	r.act("export_read", func() (err error) {
		exported, err = read(r.fgs, r.fgs.ServiceURL("fgs", "functions", urn, "export")+"?config=true&code=true")
		return err
	})
	r.step("import", func() (interface{}, error) {
		return function.Import(r.fgs, function.ImportOpts{
			FuncName: r.Name + "-again", FileName: "again.zip", FileType: "zip", FileCode: exported, Package: "default",
		})
	})
	r.step("import_twice", func() (interface{}, error) {
		return function.Import(r.fgs, function.ImportOpts{
			FuncName: r.Name + "-again", FileName: "again.zip", FileType: "zip", FileCode: exported, Package: "default",
		})
	})
	r.step("get_imported", func() (interface{}, error) { return function.GetMetadata(r.fgs, r.urn("-again")) })
	r.step("get_code_imported", func() (interface{}, error) { return r.code(r.urn("-again")) })
}

// A body in Base64.
func read(client *golangsdk.ServiceClient, url string) (string, error) {
	answer, err := client.Get(url, nil, nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return base64.StdEncoding.EncodeToString(body), err
}
