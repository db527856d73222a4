"""Reads stored rows and writes tables, figures and one page; knows no engine and no network."""
