"""The vendors that LiteLLM knows by a prefix of a model's name, and how Transom reaches each.

Base URLs are from the vendors' own documentation of their OpenAI-compatible (or, where Transom speaks it, own) APIs.
`key`: the variable that LiteLLM reads where an entry names no key.
"""

from collections.abc import Mapping

from msgspec import Struct

OPENAI_LIKE = ("openai-chat", "openai-embeddings")


class Provider(Struct, frozen=True):
    """`base_url` is `None` where everyone has a server of their own. `version`: what a base URL of one's own lacks."""

    base_url: str | None = None
    key: str | None = None
    speaks: tuple[str, ...] = OPENAI_LIKE
    version: str = ""


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(
        "https://api.openai.com/v1", "OPENAI_API_KEY", ("openai-chat", "openai-responses", "openai-embeddings")
    ),
    "anthropic": Provider("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", ("anthropic-messages",), "/v1"),
    "gemini": Provider(
        "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY", ("gemini-generate",), "/v1beta"
    ),
    "cerebras": Provider("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "dashscope": Provider("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
    "deepinfra": Provider("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "deepseek": Provider("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "fireworks_ai": Provider("https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    "groq": Provider("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "hyperbolic": Provider("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY"),
    "mistral": Provider("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "moonshot": Provider("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    "nvidia_nim": Provider("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "openrouter": Provider("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "perplexity": Provider("https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "sambanova": Provider("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    "together_ai": Provider("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "xai": Provider("https://api.x.ai/v1", "XAI_API_KEY"),
    # One's own servers.
    "ollama": Provider("http://localhost:11434/v1", version="/v1"),
    "ollama_chat": Provider("http://localhost:11434/v1", version="/v1"),
    "hosted_vllm": Provider(),
    "vllm": Provider(),
    "lm_studio": Provider(),
    "llamafile": Provider(),
    "litellm_proxy": Provider(),
    "openai_like": Provider(),
    "custom_openai": Provider(),
    "databricks": Provider(),
}

_COMPATIBLE = (
    "Transom speaks to {} through its OpenAI-compatible endpoint alone: declare an upstream with base_url {} and a key"
)
UNREACHED: Mapping[str, str] = {
    "bedrock": _COMPATIBLE.format("Amazon Bedrock", "https://bedrock-runtime.REGION.amazonaws.com/openai/v1")
    + " for Bedrock's API (AWS_BEARER_TOKEN_BEDROCK), and route the model there.",
    "vertex_ai": _COMPATIBLE.format(
        "Vertex AI", "https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/endpoints/openapi"
    )
    + " file that holds an access token and is renewed before it expires; or use the provider gemini with an API key.",
    "azure_ai": _COMPATIBLE.format("Azure AI Foundry", "https://RESOURCE.services.ai.azure.com/openai/v1")
    + ' in the header api-key (key_header = "api-key").',
}
UNREACHED_ELSE = (
    "Transom does not know this provider. Where it has an OpenAI-compatible endpoint, declare an upstream with its "
    "base_url and key, and route the model there."
)

_OPENAI_NAMES = ("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-")


def split(model: str, said: str | None) -> tuple[str | None, str]:
    """Return the provider that a model's name means, and its own name of the model. `said`: `custom_llm_provider`."""
    prefix, slash, name = model.partition("/")
    if said is not None:
        return said, name if slash and prefix == said else model
    if slash and (prefix in PROVIDERS or prefix in UNREACHED or prefix == "azure"):
        return prefix, name
    if model.startswith(_OPENAI_NAMES):
        return "openai", model
    if model.startswith("claude-"):
        return "anthropic", model
    return (prefix, name) if slash else (None, model)
