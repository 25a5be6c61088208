"""What a run found: summary, tables, comparison, page, tuning."""
