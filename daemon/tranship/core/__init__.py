"""The words of Tranship: values and rules, pure, without I/O."""
