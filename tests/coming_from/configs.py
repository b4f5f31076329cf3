"""Configurations of LiteLLM's, as people have them and as nobody should."""

REALISTIC = """\
model_list:
  - model_name: gpt-4o
    litellm_params: &azure
      model: azure/gpt-4o-eu
      api_base: https://acme-eu.openai.azure.com/
      api_key: os.environ/AZURE_EU_KEY
      api_version: "2024-10-21"
      rpm: 600
      order: 1
      region_name: eu
  - model_name: gpt-4o
    litellm_params:
      <<: *azure
      model: azure/gpt-4o-se
      rpm: 200
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
      rpm: 200
      order: 2
      input_cost_per_token: 0.0000025
      output_cost_per_token: 1.0e-05
    model_info:
      max_output_tokens: 16384
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      api_key: sk-ant-api03-in-the-clear
      timeout: 300
  - model_name: gemini
    litellm_params: {model: gemini/gemini-2.5-flash}
  - model_name: local
    litellm_params:
      model: hosted_vllm/meta-llama/Llama-3.1-8B-Instruct
      api_base: os.environ/VLLM_URL
      max_parallel_requests: 32
  - model_name: tiny
    litellm_params: {model: ollama_chat/llama3.2, api_base: "http://127.0.0.1:11434"}
  - model_name: fast
    litellm_params: {model: groq/llama-3.3-70b-versatile}
  - model_name: vectors
    litellm_params: {model: text-embedding-3-small, api_key: os.environ/OPENAI_API_KEY, organization: org-acme}
    model_info: {mode: embedding}
  - model_name: bedrock-claude
    litellm_params: {model: bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0, aws_region_name: us-east-1}
  - model_name: vertex
    litellm_params: {model: vertex_ai/gemini-2.5-pro, vertex_project: acme}
  - model_name: "openai/*"
    litellm_params: {model: "openai/*", api_key: os.environ/OPENAI_API_KEY}
  - model_name: pictures
    litellm_params: {model: openai/gpt-image-1}
    model_info: {mode: image_generation}
router_settings:
  routing_strategy: simple-shuffle
  num_retries: 2
  timeout: 120
  allowed_fails: 3
  cooldown_time: 30
  redis_host: os.environ/REDIS_HOST
  redis_password: hunter2-in-the-clear
  fallbacks: [{gpt-4o: [claude, local]}]
  context_window_fallbacks: [{local: [gpt-4o]}]
  model_group_alias: {gpt-4: gpt-4o}
litellm_settings:
  drop_params: true
  success_callback: [langfuse]
  max_budget: 500
  budget_duration: 30d
general_settings:
  master_key: sk-1234-in-the-clear
  database_url: postgresql://litellm:in-the-clear@db/litellm
environment_variables:
  LANGFUSE_SECRET_KEY: lf-in-the-clear
"""
VARIABLES = ("AZURE_EU_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GROQ_API_KEY")

NASTY = r"""
include: [other.yaml]
model_list:
  - just words
  - model_name: no-params
  - {model_name: [a, list], litellm_params: {model: openai/gpt-4o}}
  - {model_name: "two words@1", litellm_params: {model: "openai/x\"y\\z", api_key: 'sk-"quoted"-secret'}}
  - {model_name: "quote\"d", litellm_params: {model: openai/gpt-4o, api_key: sk-another-secret, weight: -1, order: 1.5}}
  - {model_name: "quote\"d", litellm_params: {model: openai/gpt-4o, api_key: sk-another-secret}}
  - {model_name: "tab\there", litellm_params: {model: openai/gpt-4o}}
  - {model_name: "bell\a", litellm_params: {model: openai/gpt-4o}}
  - {model_name: userinfo, litellm_params: {model: openai/m, api_base: "https://me:pass-secret@host/v1"}}
  - {model_name: queried, litellm_params: {model: openai/m, api_base: "https://host/v1?key=query-secret"}}
  - {model_name: no-url, litellm_params: {model: openai/m, api_base: "http://[::1"}}
  - {model_name: nowhere, litellm_params: {model: hosted_vllm/m, api_base: os.environ/NOT_SET}}
  - {model_name: unknown, litellm_params: {model: acme_cloud/m}}
  - {model_name: nobody, litellm_params: {model: mystery}}
  - {model_name: mixed, litellm_params: {model: openai/gpt-4o}}
  - {model_name: mixed, litellm_params: {model: openai/text-embedding-3-small, input_cost_per_token: 1}}
  - {model_name: azure, litellm_params: {model: azure/dep loyment, api_base: https://x.openai.azure.com}}
  - model_name: headers
    litellm_params:
      model: openai/m
      api_base: https://host/v1
      api_key: os.environ/NOT A NAME
      extra_headers: {X-Api-Token: header-secret, "bad name": x, x-team: "line\nend", x-fine: yes please}
      input_cost_per_token: -1
      output_cost_per_token: 1e999
      rpm: lots
      timeout: -3
      temperature: 0.2
  - {model_name: "*", litellm_params: {model: "*"}}
router_settings:
  routing_strategy: psychic
  num_retries: 1000000
  allowed_fails: 0.5
  fallbacks: [{"quote\"d": [headers, gone, {model: headers, temperature: 1}]}, {gone: [headers]}, {"*": [mixed]}]
  model_group_alias: {"a b": headers, fine: {model: headers, hidden: true}, lost: gone}
litellm_settings: nothing
general_settings: {global_max_parallel_requests: 0, brand_new_setting: 1}
brand_new_section: {}
another: 1
"""
SECRETS = (
    "in-the-clear", 'sk-"quoted"-secret', "sk-another-secret", "pass-secret", "query-secret", "header-secret",
    "hunter2",
)  # fmt: skip

KEYS = b"""{"keys": [
  {"token": "a1", "key_alias": "ada", "key_name": "sk-...abcd", "team_id": "t1", "models": ["gpt-4o"],
   "max_budget": 20.5, "budget_duration": "30d", "rpm_limit": 60, "max_parallel_requests": 4,
   "model_rpm_limit": {"gpt-4o": 10}, "expires": "2027-01-01T00:00:00Z", "spend": 1.5},
  {"token": "a2", "key_alias": null, "key_name": "sk-...efgh", "models": [], "max_budget": 0},
  {"token": "a3", "key_alias": "ada", "key_name": "sk-...ijkl", "team_id": "gone", "models": ["all-team-models"]},
  {"token": "a4", "key_alias": "blocked", "blocked": true},
  {"token": "a5", "key_alias": "nothing", "models": ["no-default-models"]}
], "total_count": 5}"""
TEAMS = b"""[
  {"team_id": "t1", "team_alias": "Data Science", "models": ["gpt-4o", "cla*"], "max_budget": 100,
   "budget_duration": "7d", "tpm_limit": 100000, "keys": [{"token": "a1"}], "blocked": false},
  {"team_id": "t2", "team_alias": "Ops \\" \\u0007", "models": []}
]"""
