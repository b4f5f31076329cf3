"""What to do instead of LiteLLM's settings that are not carried. An empty text: nothing needs doing.

Source: LiteLLM's documentation, "All settings", "Router".
"""

from collections.abc import Mapping

_CACHE = (
    "gives kept answers again. Declare `cache` of the models that shall: to whom is for you to say (scope), and only "
    "the very same request gets one."
)
ROUTER: Mapping[str, str] = {
    "context_window_fallbacks": "asks another model when a prompt is too long. Here the upstream's refusal reaches the "
    "caller: have callers ask a model with a longer window.",
    "content_policy_fallbacks": "asks another model when a vendor withholds an answer. Here that is an answer.",
    "retry_policy": "counts retries by kind of failure. Name the kinds that are retried in `retry.on` of each model.",
    "model_group_retry_policy": "Set `retry` of each model.",
    "allowed_fails_policy": "counts failures by kind. `breaker` counts those of the upstream, never the caller's.",
    "enable_pre_call_checks": "looks for models with a window that is long enough. Have callers ask one.",
    "optional_pre_call_checks": "Declare [[limits]] with model for rates, and `sticky` of a model for warm caches.",
    "enable_tag_filtering": "has no counterpart: declare a model for each tag, and let policies say who may use it.",
    "routing_strategy_args": "has no counterpart: `choose` has no settings.",
    "provider_budget_config": "Declare [[limits]] with upstream and money.",
    "assistants_config": "has no counterpart.",
    "default_litellm_params": "has no counterpart: requests are passed on as they are.",
    "retry_after": "has no counterpart: what upstreams say in Retry-After is heeded.",
    "stream_timeout": "Set timeouts.first_byte of upstreams.",
    "cache_responses": _CACHE,
    "disable_cooldowns": "",
    "debug_level": "",
    "set_verbose": "",
    "max_fallbacks": "",
} | dict.fromkeys(
    ("redis_host", "redis_port", "redis_password", "redis_url", "redis_db", "redis_username", "redis_startup_nodes"),
    "is needed only for rates of several processes. Put its URL, password and all, into the environment and name that: "
    "[storage] rates = { env = … }.",
)
_CALLBACKS = "Every answer is on record here by itself, with usage and cost; /metrics speaks Prometheus."
LIBRARY: Mapping[str, str] = {
    "drop_params": "Nothing is dropped in silence here: what cannot be carried is refused by its name, and hints that "
    "change no answer are named in the header transom-not-carried.",
    "modify_params": "Requests are passed on as they are.",
    "cache": _CACHE,
    "cache_params": _CACHE,
    "default_internal_user_params": "Declare [[limits]], which count for each caller apart.",
    "max_internal_user_budget": "Declare [[limits]] with money, which count for each caller apart.",
    "internal_user_budget_duration": "goes with max_internal_user_budget: see there.",
    "turn_off_message_logging": '@record("commitment") on a permit keeps no content.',
    "ssl_verify": "TLS is always verified: name an authority of your own in ca_file of the upstream.",
    "key_generation_settings": "Who may issue keys is for policies to say (the action manage_keys).",
    "guardrails": "Write @safeguards(…) on the permits that shall demand them.",
    "content_policy_fallbacks": ROUTER["content_policy_fallbacks"],
    "context_window_fallbacks": ROUTER["context_window_fallbacks"],
    "timezone": "moves when budgets begin anew. Here days and months are UTC's.",
    "set_verbose": "",
    "json_logs": "",
    "callbacks": _CALLBACKS,
    "success_callback": _CALLBACKS,
    "failure_callback": _CALLBACKS,
    "service_callback": _CALLBACKS,
    "service_callbacks": _CALLBACKS,
}
PROXY: Mapping[str, str] = {
    "master_key": "is not carried: `transom keys create NAME --group operators` issues an operator's key, shown once.",
    "database_url": "holds LiteLLM's data, which is not Transom's. For PostgreSQL name a database of Transom's own: "
    "[storage] database = { env = … }.",
    "store_model_in_db": "Models stand in files here: put those of the database (/model/info) into model_list first.",
    "alerting": "[alerts] webhook is told of budgets; alert on /metrics for the rest.",
    "enable_jwt_auth": "Declare the provider of the tokens as [[oidc]].",
    "litellm_jwtauth": "Declare the provider of the tokens as [[oidc]], and its groups to yours.",
    "custom_auth": "Callers come with keys, or with tokens of an identity provider ([[oidc]]).",
    "max_parallel_requests": "Set max_concurrent of upstreams.",
    "allowed_ips": "has no counterpart: say it in front of Transom.",
    "pass_through_endpoints": "has no counterpart.",
    "store_prompts_in_spend_logs": "Prompts are kept encrypted, as the permit's @record and @retain say.",
    "maximum_spend_logs_retention_period": '@retain("30d") on a permit says how long content is kept.',
    "background_health_checks": "Declare `health` of upstreams that have a path for it.",
    "health_check_interval": "Declare `health` of upstreams that have a path for it.",
    "database_connection_pool_limit": "",
    "database_connection_timeout": "",
    "proxy_batch_write_at": "",
    "ui_access_mode": "",
    "disable_spend_logs": "",
    "disable_master_key_return": "",
    "alerting_threshold": "",
    "alert_types": "",
}
TOP: Mapping[str, str] = {
    "include": "names more files, which are not read. Put them into one, and import that.",
    "environment_variables": "may hold secrets, so nothing of it is copied. Set what is needed where Transom starts.",
    "credential_list": "holds secrets, so nothing of it is copied. Name each one's variable in `key` of its upstream.",
    "guardrails": LIBRARY["guardrails"],
    "prompts": "has no counterpart: the whole prompt comes from the caller.",
} | dict.fromkeys(
    (
        "mcp_servers", "mcp_tools", "vector_store_registry", "files_settings", "finetune_settings", "callback_settings",
        "search_tools",
    ),
    "has no counterpart.",
)  # fmt: skip
ENTRY: Mapping[str, str] = {
    "rpm": "steers LiteLLM's choice and refuses nothing; it is carried as this deployment's weight where all of the "
    "model's have one. To refuse what is more, declare [[limits]] with model and requests_per_minute.",
    "tpm": "steers LiteLLM's choice and refuses nothing. To refuse what is more, declare [[limits]] with model and "
    "tokens_per_minute.",
    "max_tokens": "is a default of LiteLLM's for callers who say none; requests are passed on as they are here. Have "
    "callers send it.",
    "azure_ad_token": "expires. Have something renew it in a file, and name that: key = { file = … } with key_header = "
    '"authorization".',
    "tags": "has no counterpart: declare a model for each tag, and let policies say who may use it.",
    "max_budget": "limits a deployment. Declare [[limits]] with upstream and money.",
    "budget_duration": "goes with max_budget: see there.",
    "drop_params": LIBRARY["drop_params"],
    "use_in_pass_through": "has no counterpart: the vendors' own APIs are answered under their own paths.",
    "num_retries": "is set for a whole model here: declare its `retry`.",
    "max_retries": "is set for a whole model here: declare its `retry`.",
    "cooldown_time": "is set for an upstream here: declare its `breaker`.",
    "cache_control_injection_points": "changes what is asked. Have callers mark what shall be cached.",
    "mock_response": "is for tests; nothing is mocked here.",
}
ENTRY_ELSE = (
    "is not carried. Where it is a default for requests (temperature, …), have callers send it: requests are passed on "
    "as they are."
)
INFO: Mapping[str, str] = dict.fromkeys(
    (
        "id", "db_model", "base_model", "litellm_provider", "description", "created_at", "updated_at", "created_by",
        "updated_by", "supports_vision", "supports_function_calling", "supports_parallel_function_calling",
        "supports_response_schema", "supports_system_messages", "supports_prompt_caching", "supports_tool_choice",
        "supports_reasoning", "supports_audio_input", "supports_pdf_input", "max_tokens",
    ),
    "",
)  # fmt: skip
"""What tells of a model without doing anything."""
PERSON: Mapping[str, str] = {
    "soft_budget": "warns and refuses nothing. Add warn_at to the limit.",
    "model_max_budget": "limits models apart. Declare [[limits]] with key or group, model and money for each.",
    "aliases": "gives models other names for this key. Declare models of these names.",
    "permissions": "has no counterpart: what a caller may is for policies to say.",
    "guardrails": "is for policies to say: @safeguards(…) before a permit.",
    "allowed_routes": "is for policies to say: each action is one.",
    "budget_id": "stands for limits that are not in this answer. Declare [[limits]] for it.",
} | dict.fromkeys(
    (
        "token", "token_id", "key", "key_name", "spend", "user_id", "org_id", "organization_id", "created_at",
        "updated_at", "created_by", "updated_by", "budget_reset_at", "metadata", "last_active", "rotation_count",
        "members", "members_with_roles", "admins", "team_memberships", "keys", "model_spend", "members_count",
        "rpm_limit_type", "tpm_limit_type", "blocked", "expires", "team_alias", "team_id",
    ),
    "",
)  # fmt: skip
"""Of a key or a team. Who is in a team, and what was spent, lives in a database here, not in files."""
