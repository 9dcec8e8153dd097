package main

import (
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/fgs/v2/trigger"
)

// Triggers of the types whose settings the library has. Settings cannot be changed with it: of an update's settings it
// knows four of DIS, and reads two of them back as another type than it sent them.
func (r *run) triggers() {
	urn := r.urn("")
	timer := r.trigger("timer", "TIMER", "ACTIVE", trigger.EventData{
		Name: "every_hour", ScheduleType: "Rate", Schedule: "1h", UserEvent: "wake up",
	})
	cron := r.trigger("timer_cron", "TIMER", "DISABLED", trigger.EventData{
		Name: "nightly", ScheduleType: "Cron", Schedule: "0 15 2 * * ?",
	})
	api := r.trigger("apig", "APIG", "", trigger.EventData{
		Name: "API_go", Type: number(1), Path: "/" + r.Name, Protocol: "HTTP", ReqMethod: "GET", MatchMode: "SWA",
		EnvName: "RELEASE", EnvID: "DEFAULT_ENVIRONMENT_RELEASE_ID", Auth: "NONE", BackendType: "FUNCTION",
		FuncInfo: &trigger.TriggerFuncInfo{FunctionUrn: urn, InvocationType: "sync", Timeout: 5000, Version: "latest"},
	})
	r.trigger("smn", "SMN", "", trigger.EventData{TopicUrn: r.Topic})
	r.trigger("lts_trigger", "LTS", "DISABLED", trigger.EventData{LogGroupID: r.LogGroup, LogTopicID: r.SourceStream})
	// Switched off, so that nobody connects.
	r.trigger("kafka", "KAFKA", "", trigger.EventData{
		InstanceID: "dms-1", TopicIds: []string{"orders", "bills"}, BatchSize: number(50), KafkaUser: "reader",
		KafkaPassword: "not to be seen", KafkaConnectAddress: "127.0.0.1:9092", KafkaSSLEnable: flagged(true),
	})
	r.trigger("rabbitmq", "RABBITMQ", "DISABLED", trigger.EventData{
		InstanceID: "mq-1", AccessUser: "reader", AccessPassword: "not to be seen", ConnectAddress: "127.0.0.1:5672",
		ExchangeName: "orders", Vhost: "shop", SSLEnable: flagged(false), BatchSize: number(10),
	})
	r.trigger("dds", "DDS", "DISABLED", trigger.EventData{
		InstanceID: "dds-1", DbName: "shop", CollectionName: "orders", DbPassword: "not to be seen", BatchSize: number(20),
	})
	r.trigger("cts", "CTS", "", trigger.EventData{
		Name: "changes", Operations: []string{"FunctionGraph:Functions:createFunction"},
	})
	r.trigger("obs", "OBS", "", trigger.EventData{Bucket: "orders", Events: []string{"s3:ObjectCreated:*"}, Name: "o"})
	r.trigger("timer_bad", "TIMER", "", trigger.EventData{Name: "bad", ScheduleType: "Rate", Schedule: "61m"})
	r.trigger("timer_twice", "TIMER", "", trigger.EventData{Name: "every_hour", ScheduleType: "Rate", Schedule: "2h"})

	get := func(step, kind, id string) {
		r.step(step, func() (interface{}, error) { return trigger.Get(r.fgs, urn, kind, id) })
	}
	change := func(step, kind, id, status string) {
		r.step(step, func() (interface{}, error) {
			return trigger.Update(r.fgs, trigger.UpdateOpts{
				FuncUrn: urn, TriggerId: id, TriggerTypeCode: kind, TriggerStatus: status,
			})
		})
	}
	get("timer_get", "TIMER", timer)
	r.step("triggers", func() (interface{}, error) { return trigger.GetTriggers(r.fgs, urn) })
	change("timer_off", "TIMER", timer, "DISABLED")
	get("timer_get_off", "TIMER", timer)
	change("cron_on", "TIMER", cron, "ACTIVE")
	change("apig_off", "APIG", api, "DISABLED")
	get("apig_get", "APIG", api)
	r.act("timer_delete", func() error { return trigger.Delete(r.fgs, urn, "TIMER", timer) })
	get("timer_gone", "TIMER", timer)
	r.act("triggers_delete", func() error { return trigger.DeleteTriggers(r.fgs, urn) })
	r.step("triggers_none", func() (interface{}, error) { return trigger.GetTriggers(r.fgs, urn) })
}

// Creates one; gives its id, "none" if that failed.
func (r *run) trigger(step, kind, status string, data trigger.EventData) string {
	id := "none"
	r.step(step, func() (interface{}, error) {
		made, err := trigger.Create(r.fgs, trigger.CreateOpts{
			FuncUrn: r.urn(""), TriggerTypeCode: kind, TriggerStatus: status, EventData: &data,
		})
		if err == nil {
			id = made.TriggerId
		}
		return made, err
	})
	return id
}
