// Sends the form of a page that asks nothing. Without scripts, its button does the same.
document.getElementById('send').submit();
