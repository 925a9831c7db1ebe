"""The bundles: templates, rendering, checking."""
