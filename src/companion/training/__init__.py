"""From a recipe to trained weights and their record."""
