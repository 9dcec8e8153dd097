package main

import (
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/alias"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/function"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/reserved"
)

// Versions, aliases with a share of another version, and reserved instances of both.
func (r *run) versions() {
	urn := r.urn("")
	publish := func(step, version string) {
		r.step(step, func() (interface{}, error) {
			return alias.PublishVersion(r.fgs, alias.PublishOpts{FuncUrn: urn, Version: version, Description: "d-" + version})
		})
	}
	publish("publish", "v1")
	r.step("code_between", func() (interface{}, error) {
		return function.UpdateFuncCode(r.fgs, function.UpdateFuncCodeOpts{
			FuncUrn: urn, CodeType: "inline", FuncCode: &function.FuncCode{File: encoded("third")},
		})
	})
	publish("publish_second", "v2")
	publish("publish_again", "v2")
	r.step("versions", func() (interface{}, error) {
		return alias.ListVersion(r.fgs, alias.ListVersionOpts{FuncUrn: urn, Marker: "0", Maxitems: "2"})
	})
	r.step("get_version", func() (interface{}, error) { return function.GetMetadata(r.fgs, urn+":v1") })

	// Rules of an alias are not tried: the library has one object where the API's reference has a list of them.
	r.step("alias_create", func() (interface{}, error) {
		return alias.CreateAlias(r.fgs, alias.CreateAliasOpts{
			FuncUrn: urn, Name: "prod", Version: "v1", Description: "live", AdditionalVersionWeights: map[string]int{"v2": 30},
		})
	})
	r.step("alias_get", func() (interface{}, error) { return alias.GetAlias(r.fgs, urn, "prod") })
	r.step("alias_list", func() (interface{}, error) { return alias.ListAlias(r.fgs, urn) })
	r.step("alias_update", func() (interface{}, error) {
		return alias.UpdateAlias(r.fgs, alias.UpdateAliasOpts{
			FuncUrn: urn, AliasName: "prod", Version: "v2", AdditionalVersionWeights: map[string]int{"v1": 5},
		})
	})
	r.step("alias_get_updated", func() (interface{}, error) { return alias.GetAlias(r.fgs, urn, "prod") })

	r.reservations(urn)

	r.act("version_in_use", func() error { return function.Delete(r.fgs, urn+":v1") })
	r.act("alias_delete", func() error { return alias.Delete(r.fgs, urn, "prod") })
	r.step("alias_gone", func() (interface{}, error) { return alias.GetAlias(r.fgs, urn, "prod") })
	r.step("alias_list_empty", func() (interface{}, error) { return alias.ListAlias(r.fgs, urn) })
	r.act("version_delete", func() error { return function.Delete(r.fgs, urn+":v1") })
	r.step("version_gone", func() (interface{}, error) { return function.GetMetadata(r.fgs, urn+":v1") })
}

// The library looks for `reserved_instances` in the list of instances, which is `reservedinstances`; and in the list of
// settings for `func_urn`, which is `function_urn`, as is the query that it calls `urn`: what is left is tried.
func (r *run) reservations(urn string) {
	r.step("reserve_alias", func() (interface{}, error) {
		return reserved.Update(r.fgs, reserved.UpdateOpts{
			FuncUrn: urn + ":!prod", Count: number(1), IdleMode: flagged(false),
			TacticsConfig: &reserved.TacticsConfig{CronConfigs: []reserved.CronConfig{
				{Name: "nights", Cron: "0 0 2 * * ?", Count: 2, StartTime: 1900000000, ExpiredTime: 2000000000},
			}},
		})
	})
	r.step("reserve_version", func() (interface{}, error) {
		return reserved.Update(r.fgs, reserved.UpdateOpts{FuncUrn: urn + ":v1", Count: number(1)})
	})
	r.step("reserved", func() (interface{}, error) {
		return reserved.ListReservedInst(r.fgs, reserved.ListOpts{FuncUrn: urn, Limit: "10"})
	})
	r.step("reserved_configs", func() (interface{}, error) {
		return reserved.ListReservedInstConfigs(r.fgs, reserved.ListConfigOpts{Limit: "100"})
	})
	r.step("get_reserved", func() (interface{}, error) { return function.GetMetadata(r.fgs, urn+":v1") })
	for _, qualifier := range []string{":!prod", ":v1"} {
		name := "release" + qualifier
		of := urn + qualifier
		r.step(name, func() (interface{}, error) {
			return reserved.Update(r.fgs, reserved.UpdateOpts{FuncUrn: of, Count: number(0), IdleMode: flagged(false)})
		})
	}
	r.step("reserved_none", func() (interface{}, error) {
		return reserved.ListReservedInst(r.fgs, reserved.ListOpts{FuncUrn: urn})
	})
}
