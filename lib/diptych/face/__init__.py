"""What `import diptych` offers a notebook: runs, tasks, models, answers, comparisons, drift."""
