"""Who the tap is measured against."""
