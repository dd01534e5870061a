"""PaKA: what is similar to what in a region must be the same for student and teacher."""
