"""What only jobs and rules need: the config, jobs, locks, attempts, devices, resources."""
