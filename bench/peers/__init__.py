"""The same model behind other servers, each written as its documentation says.

They import nothing of Evergreen but, with `--same-decoder`, the function that decodes an image; so
they run with any interpreter that has their packages.
"""
