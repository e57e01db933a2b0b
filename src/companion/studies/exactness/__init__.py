"""The slow searches for what breaks exactness; they have no notebook."""
