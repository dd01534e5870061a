"""What `leopart figure` draws: photos with what the methods make of them, on pages for print."""
