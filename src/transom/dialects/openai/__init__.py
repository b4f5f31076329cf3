"""OpenAI's two APIs of conversations, Chat Completions and Responses: passed on, and translated."""
