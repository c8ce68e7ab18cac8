"""Handlebars: stored templates, and what they say with their variables filled in.

The part of the language that stored templates use, and nothing that reaches beyond the variables: no partials, no
decorators, no helpers but if, unless, each, with and equal. What is not known is refused when the template is read.
"""
