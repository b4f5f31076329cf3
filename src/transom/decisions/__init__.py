"""The life of one decision: opened and durable before anything is answered, closed with what came of it."""
