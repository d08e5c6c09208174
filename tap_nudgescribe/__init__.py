"""Singer tap for Nudgescribe, and the API client that both plugins share."""
