"""Our data as FunctionGraph answers show it: one superset object for every answer about a function.

Terraform's rules (rest-api, 3.2): null where nothing is set, JSON numbers for numbers, a URN of 8 fields.
"""

from dataclasses import replace
from typing import Final

from fgd.api.services import Services
from fgd.clock import iso_utc
from fgd.control.facet import show_all
from fgd.control.variables import masked
from fgd.model import Alias, AsyncConfig, Function, Reservation, Target

#: Fields of the cloud that are always unset here.
_UNSET: Final = dict.fromkeys(
    (
        "custom_image",
        "gpu_memory", "gpu_type", "restore_hook_handler",
        "restore_hook_timeout", "enable_cloud_debug",
        "enterprise_project_id",
        "lts_custom_tag", "user_data_encrypt_kms_key_id", "code_encrypt_kms_key_id", "extend_config",
    )
)  # fmt: skip
_OFF: Final = dict.fromkeys(
    (
        "is_stateful_function", "enable_auth_in_header", "enable_class_isolation", "long_time",
        "is_bridge_function", "apig_route_enable", "allow_ephemeral_storage", "is_return_stream",
        "enable_lts_log",
    ),
    False,
)  # fmt: skip


def function_object(services: Services, function: Function) -> dict[str, object]:
    """A function version as create, config, list, versions and code answers carry it."""
    region = services.config.region
    async_config = services.async_configs.stored(function)
    return {
        **_UNSET,
        **_OFF,
        **{name: value for name, value in function.echo.items() if name != "collected"},
        "func_id": function.func_id,
        "resource_id": f"{function.func_id}:{function.name}",
        "func_urn": function.urn.text(region),
        "func_name": function.name,
        "domain_id": function.project_id,
        "namespace": function.project_id,
        "project_name": region,
        "package": function.package,
        "runtime": function.runtime,
        "timeout": function.timeout_s,
        "handler": function.handler,
        "memory_size": function.memory_mib,
        "cpu": function.cpu_mcpu,
        "code_type": function.code_type,
        "code_url": function.code_url or None,
        "code_filename": function.code_filename or None,
        "code_size": function.code_size_bytes,
        "digest": function.code_digest,
        "user_data": function.user_data or None,
        "encrypted_user_data": masked(services.functions.secret_names(function))
        if function.encrypted_user_data
        else None,
        "version": function.version,
        "version_description": function.version_description or None,
        "image_name": f"{function.version}-{function.revision}@{function.func_id[:8]}",
        "last_modified": iso_utc(function.last_modified_s),
        "description": function.description or None,
        "initializer_handler": function.initializer_handler or None,
        "initializer_timeout": function.initializer_timeout_s or None,
        "strategy_config": {"concurrency": function.max_instances, "concurrent_num": function.concurrent_num},
        "concurrency": function.max_instances,
        # fgd's own: what enabling a disabled function sets its limit to
        "enabled_concurrency": function.enabled_max_instances,
        "concurrent_num": function.concurrent_num,
        "type": "v2",
        "fail_count": 0,
        "bind_bridge_funcUrns": [],
        "function_async_config": async_config_object(services, function, async_config) if async_config else None,
        **show_all(services.functions.facets, function),
    }


def alias_object(services: Services, alias: Alias) -> dict[str, object]:
    """An alias as every answer about aliases carries it."""
    function = services.functions.by_id(alias.func_id)
    weights = strategy = None
    if alias.rules:
        rules = [
            {"rule_type": "Header", "param": rule.name, "op": rule.op, "value": ",".join(rule.values)}
            for rule in alias.rules
        ]
        strategy = {alias.additional_version: {"combine_type": alias.combine, "rules": rules}}
    elif alias.additional_version:
        weights = {alias.additional_version: alias.weight}
    urn = replace(function.urn, qualifier=f"!{alias.name}")
    return {
        "name": alias.name,
        "version": alias.version,
        "description": alias.description or None,
        "last_modified": iso_utc(alias.last_modified_s),
        "alias_urn": urn.text(services.config.region),
        "additional_version_weights": weights,
        "additional_version_strategy": strategy,
    }


def async_config_object(services: Services, function: Function, config: AsyncConfig) -> dict[str, object]:
    """The asynchronous settings of a function version."""
    return {
        "func_urn": function.urn.text(services.config.region),
        "max_async_event_age_in_seconds": config.max_age_s,
        "max_async_retry_attempts": config.max_retries,
        "destination_config": {"on_success": _target(config.on_success), "on_failure": _target(config.on_failure)},
        "created_time": iso_utc(config.created_s),
        "last_modified": iso_utc(config.last_modified_s),
        "enable_async_status_log": config.enable_status_log,
    }


def _target(target: Target | None) -> dict[str, str] | None:
    return None if target is None else {"destination": target.kind, "param": target.param}


def reservation_fields(reservation: Reservation) -> dict[str, object]:
    """What is reserved, as update-function-reserved-instances-count takes it; null where there are no policies."""
    tactics: dict[str, object] = {}
    if reservation.crons:
        tactics["cron_configs"] = [
            {
                "name": one.name,
                "cron": one.cron,
                "count": one.count,
                "start_time": one.start_s or None,
                "expired_time": one.expired_s or None,
            }
            for one in reservation.crons
        ]
    if reservation.metrics:
        tactics["metric_configs"] = [
            {"name": one.name, "type": "Concurrency", "threshold": one.threshold, "min": one.least}
            for one in reservation.metrics
        ]
    if reservation.level:
        tactics["recommend_config"] = {"level": reservation.level}
    return {"count": reservation.count, "idle_mode": reservation.idle_mode, "tactics_config": tactics or None}


def page_info(offset: int, count: int, total: int) -> dict[str, int]:
    """The paging of lists with `marker` and `limit`."""
    return {
        "next_marker": min(offset + count, total),
        "previous_marker": max(0, offset - count),
        "current_count": count,
    }
