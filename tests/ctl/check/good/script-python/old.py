print "of another Python"
