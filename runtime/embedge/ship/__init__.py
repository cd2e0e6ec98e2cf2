"""`embedge ship`: a folder or a ZIP file with everything that embedding needs on another machine.

Where to start reading: ``assemble`` runs the steps in order. ``platforms`` holds the platforms and pip's tags of each,
``places`` the layouts for AWS Lambda and of a plain folder. ``wheels`` lets pip unpack the wheels, ``own_package``
copies embedge, ``trim`` deletes what embedding does not use, ``symbols`` blanks symbol tables, ``bytecode`` compiles,
``record`` recognises an earlier output, ``zip_file`` packs, and ``sizes`` counts bytes and compares them with the
place's limits.
"""
