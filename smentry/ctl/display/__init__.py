"""What a host writes, as it comes, on a terminal or in a file. It knows neither jobs nor endpoints."""
