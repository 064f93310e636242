"""The surface for those who run the gateway: costs, decisions, breakers. A FastAPI app, loaded on its first request."""
