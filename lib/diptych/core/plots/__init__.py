"""Plots and tables of notebooks and pages, each with its data as a table."""
