"""What finished runs say: learning curves, statistics, plots, report."""
