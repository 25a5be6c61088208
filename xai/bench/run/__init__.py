"""From a configuration to records: plan, work items, engines, and the run's folder."""
