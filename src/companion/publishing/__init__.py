"""From runs/ to what is published: results, figures, README, pages, releases."""
