"""Figures beyond the papers: what their ideas are worth beside what people use."""
