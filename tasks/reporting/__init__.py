"""The pieces of the report: numbers out of the artifacts, drawings of them, and the page that shows them."""
