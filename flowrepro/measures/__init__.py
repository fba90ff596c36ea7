"""What is measured on a trained flow, by name, and where it is stored."""
