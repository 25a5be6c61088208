from document_world import small_demo, world, world_with_runs

__all__ = ["small_demo", "world", "world_with_runs"]
