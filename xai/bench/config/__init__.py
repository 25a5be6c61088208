"""What a benchmark is asked to do: its YAML, checked, with methods and protocols resolved."""
