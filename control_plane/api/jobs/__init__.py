"""Jobs: what runs on a schedule, after another job, or when somebody asks."""
