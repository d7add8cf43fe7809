"""The networks that neither torchvision nor timm has, one file each, each built from its paper.

Every builder's first keyword is ``classes``; the model cards name the builders as "module:function".
Beside them are the random start they share and the preprocessing that an exported network may carry.
"""
