"""Pages and pictures for people: templates, charts, labels."""
