"""Metrics of a trained flow."""
