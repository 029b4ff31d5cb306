"""The same model behind other servers, each written as in its documentation.

They run with any interpreter that has their packages. Of Evergreen they import only the decoder,
and only when the same decoder is compared.
"""
