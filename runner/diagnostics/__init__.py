"""User mistakes: collected, each with a rule id, a place, and a fix. What lives here: the values, the table of rules, text and JSON."""
