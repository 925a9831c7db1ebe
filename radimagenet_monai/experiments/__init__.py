"""Complete experiments made of bundle runs."""
