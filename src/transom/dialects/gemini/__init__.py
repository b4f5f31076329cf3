"""Google's Gemini API, `generateContent`: plain, streamed as events or as one array, and the counting of tokens.

Source: Google's API reference, "Generating content", and the types of its `google-genai` SDK.
"""
