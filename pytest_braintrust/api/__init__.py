"""Braintrust's REST API, usable by itself."""
