"""What keeps a role running: signals, reload, health, metrics, log, the service manager."""
