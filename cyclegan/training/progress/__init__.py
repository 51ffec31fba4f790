"""What a run reports while it trains: losses, sample grids, warnings."""
