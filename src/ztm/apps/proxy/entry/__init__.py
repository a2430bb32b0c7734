"""The proxy's listening side: it speaks HTTP and SOCKS with clients, and knows no exits (`ztm.apps.proxy.way`)."""
