"""Plots and tables of notebooks and pages; each plot has its data as a table."""
