"""What is measured: the plan, slices, private columns and users' own statistics."""
